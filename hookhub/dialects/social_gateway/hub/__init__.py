"""`POST /hub`: PubSubHubbub for the repositories' events, by which a program subscribes a callback to a topic."""
