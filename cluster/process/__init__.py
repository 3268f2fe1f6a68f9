"""What every process of ours does: logs, complaints, exit codes, signals, and telling systemd."""
