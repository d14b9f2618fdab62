"""PostgreSQL and Valkey as child processes: nothing to install, nothing to clean up."""
