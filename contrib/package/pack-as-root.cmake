# Run by CPack: packs the tarball anew, with root as the owner of all that is in it.
execute_process(
  COMMAND tar --create --format=gnu --owner=root:0 --group=root:0 --sort=name --mtime=@$ENV{SOURCE_DATE_EPOCH}
    --use-compress-program=gzip\ -9n --file ${CPACK_PACKAGE_FILES} ${CPACK_PACKAGE_FILE_NAME}
  WORKING_DIRECTORY ${CPACK_TEMPORARY_DIRECTORY}/..
  COMMAND_ERROR_IS_FATAL ANY)
