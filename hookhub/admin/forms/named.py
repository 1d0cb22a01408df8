"""The form of an organization or a repository, whose names are unique regardless of case."""

from deliveries import names
from hookhub.admin.forms import ModelForm


class NamedForm(ModelForm):
    """Rejects a name that another row has in any case, with an error next to its field."""

    def _post_clean(self) -> None:
        """Compare the name after the other fields of the instance are set."""
        super()._post_clean()  # type: ignore[misc]  # missing from the stubs
        row, field = self.instance, names.field_of(self.instance)
        is_new_name = field in self.changed_data and field in self.cleaned_data
        # A repository's name is compared within its organization, so a valid organization is needed.
        if is_new_name and "organization" not in self.errors and (error := names.name_error(row, str(row))):
            self.add_error(field, f"This name {error}.")
