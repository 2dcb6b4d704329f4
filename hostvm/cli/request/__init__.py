"""What was asked for -> Docker's JSON. Pure, but for the files that flags name (--env-file, --label-file)."""
