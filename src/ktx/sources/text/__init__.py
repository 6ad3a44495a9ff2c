"""What people say: texts and files given on the command line or by an agent."""
