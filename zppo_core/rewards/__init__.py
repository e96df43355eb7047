"""The outcome reward: typed answers, one cleaning of text, one grader for training and evaluation.

`answers` says what a gold answer is, `where` finds the answer in a response, `clean` takes its
dress off, `grader` decides, `custom` runs a user's own reward.
"""
