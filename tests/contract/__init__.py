"""The external interface of HookHub, derived from the code and compared with `golden/` to find accidental changes.

`pages` lists the golden files. `make contract` rewrites them after an intended change.
"""
