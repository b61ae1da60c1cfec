"""The stages of the pipeline: functions that do one step and return what is to be remembered.

Each may be run twice and then finds its work done. Each raises only `RetryLater` (something outside is down)
and `JobFailed` (it can never work); `outside.translated` makes these out of the errors of the other packages.
"""
