# shellcheck shell=bash

# Completes the last word of a list with those of "$2" that are not in it yet.
_iptables_exporter_list() {
    local before='' words='' value
    [[ $1 == *,* ]] && before=${1%,*},
    for value in $2; do
        [[ ,$before == *,$value,* ]] || words+="$value "
    done
    mapfile -t COMPREPLY < <(compgen -P "$before" -W "$words" -- "${1##*,}")
    compopt -o nospace # a comma may follow
}

_iptables_exporter() {
    local word=$2 previous=$3
    COMPREPLY=()
    # Bash makes --family=ipv4 three words.
    [[ $word == = ]] && word=
    [[ $previous == = ]] && previous=${COMP_WORDS[COMP_CWORD - 2]}
    case $previous in
    -o | --output | -i | --input)
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        ;;
    -f | --family)
        _iptables_exporter_list "$word" 'ipv4 ipv6'
        ;;
    -b | --backend)
        _iptables_exporter_list "$word" 'legacy nft'
        ;;
    --sum-by)
        _iptables_exporter_list "$word" 'table chain rule comment target protocol source destination in_interface out_interface sport dport family backend netns'
        ;;
    --netns)
        mapfile -t COMPREPLY < <(compgen -W "$(ls /run/netns 2>/dev/null)" -- "$word")
        ;;
    -s | --select | --label | --hash | --max-series | --timeout) ;;
    *)
        mapfile -t COMPREPLY < <(compgen -W '-o --output -i --input -f --family -b --backend
            -s --select --sum-by --label --hash --netns --max-series --timeout --saved --allow-empty
            -h --help -V --version' -- "$word")
        ;;
    esac
}

complete -F _iptables_exporter iptables_exporter
