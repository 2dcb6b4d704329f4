"""The command line: argv -> request -> one call -> render. One file per noun; `table/` says what there is."""
