"""Everything breaks: real Kafka, real processes, faults from one seed; judged by an auditor."""
