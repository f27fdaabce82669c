"""The signature schemes of the webhooks, and what a verified request becomes."""
