# Installs the pages that users read, so that all they name is where they say: links lead to what the
# package has, and what only the source repository has is said to be there.

# From the repository to the directory of documentation.
set(shipped
  CHANGELOG.md CHANGELOG.md
  README.md README.md
  contrib/install.md install.md
  contrib/limits.md limits.md
  contrib/reboot.md reboot.md
  contrib/grafana/iptables_exporter.json examples/iptables_exporter.json
  contrib/prometheus/alertmanager.yml examples/alertmanager.yml
  contrib/prometheus/iptables_exporter.prometheusrule.yml examples/iptables_exporter.prometheusrule.yml
  contrib/prometheus/iptables_exporter.rules.yml examples/iptables_exporter.rules.yml
  contrib/prometheus/runbooks.md examples/runbooks.md
  contrib/systemd/nft-only.conf examples/nft-only.conf
  fixtures/go-reference.save examples/go-reference.save
  fixtures/server.save examples/server.save)

# Where `path` of the repository is in the package; empty if it is not there.
function(place_of path result)
  set(places ${shipped})
  while(places)
    list(POP_FRONT places source place)
    if(source STREQUAL path)
      set(${result} ${place} PARENT_SCOPE)
      return()
    endif()
  endwhile()
  set(${result} "" PARENT_SCOPE)
endfunction()

function(install_page source place)
  cmake_path(GET source PARENT_PATH source_directory)
  cmake_path(GET place PARENT_PATH place_directory)
  set(file ${CMAKE_CURRENT_BINARY_DIR}/pages/${place})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${source})
  file(READ ${PROJECT_SOURCE_DIR}/${source} rest)
  string(REGEX REPLACE "!\\[[^]\n]*\\]\\([^)\n]*\\)\n\n" "" rest "${rest}")  # images
  set(text "")
  while(rest MATCHES "\\[([^]]*)\\]\\(([^)#\n]*)(#[^)\n]*)?\\)")
    set(link "${CMAKE_MATCH_0}")
    set(words "${CMAKE_MATCH_1}")
    set(path "${CMAKE_MATCH_2}")
    set(anchor "${CMAKE_MATCH_3}")
    string(FIND "${rest}" "${link}" begin)
    string(LENGTH "${link}" length)
    string(SUBSTRING "${rest}" 0 ${begin} before)
    math(EXPR end "${begin} + ${length}")
    string(SUBSTRING "${rest}" ${end} -1 rest)
    if(path AND NOT path MATCHES "^[a-z]+:")
      cmake_path(APPEND source_directory ${path} OUTPUT_VARIABLE path)
      cmake_path(NORMAL_PATH path)
      place_of(${path} there)
      string(REPLACE ${path} "${there}" words_there "${words}")
      if(there)
        cmake_path(RELATIVE_PATH there BASE_DIRECTORY "${place_directory}")
        set(link "[${words_there}](${there}${anchor})")
      elseif(words STREQUAL path)
        set(link "${words} in the source repository")
      else()
        set(link "${words} (${path} in the source repository)")
      endif()
    endif()
    string(APPEND text "${before}${link}")
  endwhile()
  string(APPEND text "${rest}")
  # Those that are named without a link, in commands.
  set(places ${shipped})
  while(places)
    list(POP_FRONT places from to)
    if(from MATCHES /)
      string(REPLACE ${from} ${DOCUMENTS}/${to} text "${text}")
    endif()
  endwhile()
  string(REGEX REPLACE "([^a-z])/etc/default/iptables_exporter" "\\1${OPTIONS}" text "${text}")
  string(REPLACE /usr/share/doc/iptables-exporter ${DOCUMENTS} text "${text}")
  file(CONFIGURE OUTPUT ${file} CONTENT "@text@" @ONLY)
  cmake_path(GET file PARENT_PATH directory)
  install(FILES ${file} DESTINATION ${CMAKE_INSTALL_DOCDIR}/${place_directory})
endfunction()

set(rest ${shipped})
while(rest)
  list(POP_FRONT rest source place)
  if(source MATCHES "\\.md$")
    install_page(${source} ${place})
  else()
    cmake_path(GET place PARENT_PATH directory)
    install(FILES ${PROJECT_SOURCE_DIR}/${source} DESTINATION ${CMAKE_INSTALL_DOCDIR}/${directory})
  endif()
endwhile()
