# Completes the last word of a list with those that are not in it yet.
function __iptables_exporter_list
    set -l before (commandline -ct | string replace -r '^--[^=]*=' '' | string match -r '.*,')
    for value in $argv
        string match -q -- "*,$value,*" ",$before"; or echo "$before$value"
    end
end

complete -c iptables_exporter -f
complete -c iptables_exporter -s o -l output -rF -d 'Write atomically to FILE'
complete -c iptables_exporter -s i -l input -rF -d 'Read a dump of iptables-save -c'
complete -c iptables_exporter -s f -l family -xa '(__iptables_exporter_list ipv4 ipv6)' -d 'Protocol families'
complete -c iptables_exporter -s b -l backend -xa '(__iptables_exporter_list legacy nft)' -d 'iptables backends'
complete -c iptables_exporter -s s -l select -x -d 'PromQL series selector over rules'
complete -c iptables_exporter -l sum-by -xa '(__iptables_exporter_list table chain rule comment target protocol source destination in_interface out_interface sport dport family backend netns)' -d 'One series per distinct value of these labels'
complete -c iptables_exporter -l label -x -d 'A label of your own: NAME=REGEX'
complete -c iptables_exporter -l hash -x -d 'PromQL series selector over rules that the hash covers'
complete -c iptables_exporter -l netns -xa '(ls /run/netns 2>/dev/null)' -d 'Network namespace'
complete -c iptables_exporter -l max-series -x -d 'At most this many series of rules of each source'
complete -c iptables_exporter -l timeout -x -d 'Give up on iptables-save or the input after this long'
complete -c iptables_exporter -l saved -d 'Write only what a reboot would restore'
complete -c iptables_exporter -l allow-empty -d 'No tables in any source is a success'
complete -c iptables_exporter -s h -l help -d 'Print a help text'
complete -c iptables_exporter -s V -l version -d 'Print the version'
