"""The git side: tells HookHub about every push, from a git host that has only Python 3.9 and git.

Everything in this package runs without Django and without ``requests``, because the installed hook is this package
alone, packed into one file. The order of a push, and the order in which to read:

1. ``hook`` writes down what git said (``spool``) and leaves; the pusher waits for nothing else.
2. A detached sender, one per repository, asks git what those refs brought (``repository``), builds the events
   (``payloads``) and keeps them in the spool as they will be sent.
3. It sends them in order (``sending``) and removes what HookHub has accepted.
"""
