foreach(tool dpkg file)
  find_program(${tool}_PROGRAM ${tool})
  if(NOT ${tool}_PROGRAM)
    message(FATAL_ERROR "A Debian package needs ${tool}: contrib/quickstart deb installs what is missing")
  endif()
endforeach()
if(NOT STATIC_LIBRARIES)
  find_program(DPKG_SHLIBDEPS dpkg-shlibdeps REQUIRED)  # without it, Depends would lack the libraries
endif()

file(STRINGS package/changelog newest LIMIT_COUNT 1)
if(NOT newest MATCHES "\\(${PROJECT_VERSION}\\)")
  message(FATAL_ERROR "contrib/package/changelog does not begin with version ${PROJECT_VERSION}")
endif()

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_NAME iptables-exporter)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"Reads the packet and byte counters of all rules and chains of iptables and
ip6tables, of the legacy and the nf_tables backend, and writes them as metrics
that prometheus-node-exporter serves. A systemd timer runs it every 15
seconds; there is no resident process and no open port.")
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "iptables, systemd")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS prometheus-node-exporter)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA)
foreach(file conffiles postinst postrm prerm)
  list(APPEND CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_CURRENT_SOURCE_DIR}/package/${file})
endforeach()

install_gzipped(package/changelog ${CMAKE_INSTALL_DOCDIR})
install(FILES package/copyright DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES package/lintian-overrides
  DESTINATION share/lintian/overrides RENAME iptables-exporter)

# dpkg's, not tmpfiles': /var/lib/prometheus belongs to prometheus, and systemd-tmpfiles makes
# nothing of root's below it.
set(link ${CMAKE_CURRENT_BINARY_DIR}/iptables.prom)
# Relative, for a node_exporter in a container that has the host's root elsewhere.
file(CREATE_LINK ../../../../run/iptables_exporter/iptables.prom ${link} SYMBOLIC)
install(FILES ${link} DESTINATION /var/lib/prometheus/node-exporter)
