"""What happens when: ``watch`` reads a mailbox cycle after cycle, ``work`` claims and retries, ``process`` understands,
``retry`` decides, ``supervise`` starts and ends them all.
"""
