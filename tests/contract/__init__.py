"""What users of HookHub meet, derived from the code and compared with `golden/`: nothing of it changes by accident.

`pages` names the golden files. `make contract` rewrites them after a change on purpose.
"""
