set(CPACK_PACKAGE_VENDOR "the iptables_exporter authors")
# Whoever publishes it puts in their own.
set(CPACK_PACKAGE_HOMEPAGE_URL https://iptables-exporter.example)
set(CPACK_PACKAGE_CONTACT "iptables_exporter maintainers <maintainers@iptables-exporter.example>")
set(CPACK_PACKAGE_NAME iptables_exporter)
set(CPACK_PACKAGE_FILE_NAME
  iptables_exporter-${PROJECT_VERSION}-linux-${CMAKE_SYSTEM_PROCESSOR})
set(CPACK_PACKAGE_CHECKSUM SHA256)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

include(package/pages.cmake)
if(STATIC_LIBRARIES)
  # The licenses of what is linked in ask for their notices beside the binary.
  set(notices ${CMAKE_CURRENT_BINARY_DIR}/THIRD_PARTY_NOTICES)
  file(WRITE ${notices} "")
  foreach(library absl c6 cap cxxopts fmt re2 stdc++ tsl-ordered-map xxhash)
    file(GLOB copyright /usr/share/doc/lib${library}-*dev/copyright)
    foreach(file ${copyright})
      file(READ ${file} notice)
      file(APPEND ${notices} "==== ${file}\n\n${notice}\n")
    endforeach()
  endforeach()
  install(FILES ${notices} DESTINATION ${CMAKE_INSTALL_DOCDIR})
endif()

set(changelog ${CMAKE_CURRENT_BINARY_DIR}/changelog)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/CHANGELOG.md package/changelog)
execute_process(
  COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/package/changelog ${PROJECT_SOURCE_DIR}/CHANGELOG.md ${CPACK_PACKAGE_CONTACT}
  OUTPUT_FILE ${changelog} COMMAND_ERROR_IS_FATAL ANY)
file(STRINGS ${changelog} newest LIMIT_COUNT 1)
if(NOT newest MATCHES "\\(${PROJECT_VERSION}\\)")
  message(FATAL_ERROR "CHANGELOG.md does not begin with version ${PROJECT_VERSION}")
endif()

# The same bytes whenever and wherever they are packed.
file(STRINGS ${changelog} date REGEX "^ -- " LIMIT_COUNT 1)
string(REGEX REPLACE ".*>  " "" date ${date})
execute_process(COMMAND date --date ${date} +%s OUTPUT_VARIABLE epoch
  OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
set(CPACK_PROJECT_CONFIG_FILE ${CMAKE_CURRENT_BINARY_DIR}/epoch.cmake)
file(WRITE ${CPACK_PROJECT_CONFIG_FILE} "set(ENV{SOURCE_DATE_EPOCH} ${epoch})\n")

set(CPACK_GENERATOR ${PACKAGE})
if(PACKAGE STREQUAL TGZ)
  # CPack's own tarball belongs to who built it, and whoever has that number where it is unpacked would
  # own a program and units that root runs.
  set(CPACK_POST_BUILD_SCRIPTS ${CMAKE_CURRENT_SOURCE_DIR}/package/pack-as-root.cmake)
endif()
if(NOT PACKAGE STREQUAL DEB)  # which has Debian's copyright
  install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
endif()
if(NOT PACKAGE STREQUAL TGZ)
  set(description
"Reads the packet and byte counters of all rules and chains of iptables and
ip6tables, of the legacy and the nf_tables backend, and writes them as metrics
that prometheus-node-exporter serves. A systemd timer runs it every 15
seconds; there is no resident process and no open port.")
  # The package's, not tmpfiles': /var/lib/prometheus belongs to prometheus, and systemd-tmpfiles
  # makes nothing of root's below it.
  # Relative, for a node_exporter in a container that has the host's root elsewhere.
  foreach(page iptables_exporter/iptables.prom iptables_exporter-saved/iptables_saved.prom)
    cmake_path(GET page FILENAME link)
    file(CREATE_LINK ../../../../run/${page} ${CMAKE_CURRENT_BINARY_DIR}/${link} SYMBOLIC)
    install(FILES ${CMAKE_CURRENT_BINARY_DIR}/${link} DESTINATION /var/lib/prometheus/node-exporter)
  endforeach()
  string(TOLOWER ${PACKAGE} package)
  include(package/${package}.cmake)
endif()
include(CPack)
