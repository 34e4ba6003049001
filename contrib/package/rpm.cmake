find_program(RPMBUILD rpmbuild)
if(NOT RPMBUILD)
  message(FATAL_ERROR "An rpm needs rpmbuild: install the package rpm on Debian, rpm-build elsewhere")
endif()

set(CPACK_RPM_FILE_NAME RPM-DEFAULT)
set(CPACK_RPM_PACKAGE_NAME iptables-exporter)
set(CPACK_RPM_PACKAGE_SUMMARY "Packet and byte counters of iptables for Prometheus")
set(CPACK_RPM_PACKAGE_DESCRIPTION ${description})
set(CPACK_RPM_PACKAGE_LICENSE Apache-2.0)
set(CPACK_RPM_PACKAGE_RELEASE 1)
# CPack's find-requires would see nothing in a static program.
set(CPACK_RPM_PACKAGE_AUTOREQPROV no)
set(CPACK_RPM_PACKAGE_REQUIRES "iptables, systemd")
set(CPACK_RPM_POST_INSTALL_SCRIPT_FILE ${CMAKE_CURRENT_SOURCE_DIR}/package/post)
set(CPACK_RPM_PRE_UNINSTALL_SCRIPT_FILE ${CMAKE_CURRENT_SOURCE_DIR}/package/preun)
set(CPACK_RPM_POST_UNINSTALL_SCRIPT_FILE ${CMAKE_CURRENT_SOURCE_DIR}/package/postun)
set(CPACK_PACKAGE_RELOCATABLE OFF)
set(CPACK_RPM_COMPRESSION_TYPE xz)
# CPack would take them for %config.
set(CPACK_RPM_USER_FILELIST
  "%config(noreplace) ${OPTIONS}" "%attr(-,root,root) /var/lib/prometheus/node-exporter/iptables.prom"
  "%attr(-,root,root) /var/lib/prometheus/node-exporter/iptables_saved.prom")
# Others' directories: to list one would set its owner.
set(CPACK_RPM_EXCLUDE_FROM_AUTO_FILELIST_ADDITION
  ${options_directory} /var /var/lib /var/lib/prometheus /var/lib/prometheus/node-exporter
  /usr/lib/systemd /usr/libexec /usr/lib/systemd/system /usr/lib/sysusers.d /usr/lib/tmpfiles.d
  /usr/share/man /usr/share/man/man8 /usr/share/bash-completion /usr/share/bash-completion/completions
  /usr/share/fish /usr/share/fish/vendor_completions.d /usr/share/zsh /usr/share/zsh/site-functions)
# CPack knows no Recommends. Fedora, EPEL, SUSE and Prometheus' own packages have these names.
set(CPACK_RPM_SPEC_MORE_DEFINE
"Recommends: (golang-github-prometheus-node-exporter or golang-github-prometheus-node_exporter or node_exporter)
%define use_source_date_epoch_as_buildtime 1
%define clamp_mtime_to_source_date_epoch 1
%define _buildhost localhost
%define _build_id_links none
%define __os_install_post %{nil}")
