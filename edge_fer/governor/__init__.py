"""Keeps within a temperature and a watt budget by looking less often, before the kernel throttles."""
