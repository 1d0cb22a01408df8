"""Django's command line, which searches for garbage once it has loaded what a command needs."""

from django.core.management import BaseCommand, ManagementUtility

from hookhub.service import note_loaded


class Utility(ManagementUtility):
    """Runs the command that the arguments name."""

    def fetch_command(self, subcommand: str) -> BaseCommand:
        """Return the command; Django has loaded the settings and all apps by now."""
        command = super().fetch_command(subcommand)
        note_loaded()
        return command
