"""The portal: pages for the owners of webhooks, opened by a link that a product's server asks for."""
