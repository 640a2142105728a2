#compdef kumadb
# Completion of kumadb for zsh: kumadb itself answers.
_kumadb() {
    local line value
    local -a words_of folders
    while IFS= read -r line; do
        value=${${line%%$'\t'*}//\\/\\\\}
        value=${value//:/\\:}
        case $line in
            (*/) folders+=(${value%/}) ;;
            (*$'\t'*) words_of+=("$value:${line#*$'\t'}") ;;
            (*) words_of+=("$value") ;;
        esac
    done < <(KUMADB_COMPLETE=zsh kumadb -- "${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)
    (( $#folders )) && _describe -V folder folders -S / -r /
    (( $#words_of )) && _describe -V value words_of
}
if [[ $funcstack[1] == _kumadb ]]; then
    _kumadb "$@"
else
    compdef _kumadb kumadb
fi
