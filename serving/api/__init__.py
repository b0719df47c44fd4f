"""The HTTP API: uploads, jobs, worker processes, results and errors."""
