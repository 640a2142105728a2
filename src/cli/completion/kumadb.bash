# Completion of kumadb for bash: kumadb itself answers. With `-o nospace`, the answers end with a space where a word is complete.
_kumadb() {
    local reply
    COMPREPLY=()
    while IFS= read -r reply; do
        COMPREPLY+=("$reply")
    done < <(KUMADB_COMPLETE=bash KUMADB_COMPLETE_LINE="${COMP_LINE:0:COMP_POINT}" \
        KUMADB_COMPLETE_BREAKS="$COMP_WORDBREAKS" kumadb 2>/dev/null)
}
complete -o nospace -o bashdefault -o default -F _kumadb kumadb
