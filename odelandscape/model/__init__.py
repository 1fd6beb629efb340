"""The teacher-student problem, its state in weights and in order parameters, its loss, and alignment."""
