# shellcheck shell=bash

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
        mapfile -t COMPREPLY < <(compgen -W 'ipv4 ipv6 ipv4,ipv6' -- "$word")
        ;;
    -b | --backend)
        mapfile -t COMPREPLY < <(compgen -W 'legacy nft legacy,nft' -- "$word")
        ;;
    --sum-by)
        mapfile -t COMPREPLY < <(compgen -W 'table chain rule comment target protocol source destination in_interface out_interface sport dport family backend netns' -- "$word")
        ;;
    --netns)
        mapfile -t COMPREPLY < <(compgen -W "$(ls /run/netns 2>/dev/null)" -- "$word")
        ;;
    -s | --select | --label | --hash | --max-series | --timeout) ;;
    *)
        mapfile -t COMPREPLY < <(compgen -W '-o --output -i --input -f --family -b --backend
            -s --select --sum-by --label --hash --netns --max-series --timeout --allow-empty
            -h --help -V --version' -- "$word")
        ;;
    esac
}

complete -F _iptables_exporter iptables_exporter
