# Completion of kumadb for fish: kumadb itself answers.
complete --command kumadb --erase
complete --command kumadb --no-files --keep-order --arguments '(KUMADB_COMPLETE=fish kumadb -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token --cut-at-cursor) 2>/dev/null)'
