"""What aiokafka lacks: everything that touches its private parts."""
