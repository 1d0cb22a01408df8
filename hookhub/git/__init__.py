"""The post-receive hook: publishes events for every push, from a git host that has only Python 3.9 and git.

The package needs neither Django nor ``requests``: the installed hook is this package alone, packed into one file. The
steps of a push, which is also the order in which to read:

1. ``hook`` writes the changed refs to the spool (``spool``) and exits; the pusher waits for nothing else.
2. A detached sender, one per repository, asks git for the commits of those refs (``repository``, ``history``), builds
   the events (``events``, ``shapes``) and writes them to the spool as the requests to send.
3. The sender sends the requests in order (``uploader``, ``sending``) and deletes those that HookHub has accepted.
"""
