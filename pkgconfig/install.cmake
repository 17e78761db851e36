# Installation: the library with headers, moco.pc and the CMake package; the program with its manual pages and completion;
# the Python module, the documents and the examples. Everything is found relative to itself, so the tree can be moved and
# `cmake --install build --prefix ELSEWHERE` works.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(MOCO_PC_DIR ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
set(MOCO_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/Moco)
# moco.py looks for the library in lib beside the share that it is in.
set(MOCO_PYTHON_DIR ${CMAKE_INSTALL_DATADIR}/libmoco/python CACHE STRING "where moco.py is installed")
file(RELATIVE_PATH MOCO_PC_TO_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" MOCO_PC_TO_PREFIX ${MOCO_PC_TO_PREFIX})

# What the library links to is its own business while it is shared; who links to libmoco.a must link to the same.
if(MOCO_STATIC)
  set(MOCO_PC_PRIVATE "Requires.private: libjpeg jansson\nLibs.private: -ldnnl -pthread -lm -ldl\n")
  set(MOCO_CMAKE_LIBRARY libmoco.a)
  set(MOCO_CMAKE_TARGET "STATIC IMPORTED")
  set(MOCO_CMAKE_PROPERTY [[INTERFACE_LINK_LIBRARIES "dnnl;jpeg;jansson;pthread;m;dl"]])
else()
  set(MOCO_PC_PRIVATE "")
  set(MOCO_CMAKE_LIBRARY libmoco.so.${PROJECT_VERSION})
  set(MOCO_CMAKE_TARGET "SHARED IMPORTED")
  set(MOCO_CMAKE_PROPERTY "IMPORTED_SONAME libmoco.so.${MOCO_SOVERSION}")
endif()
configure_file(pkgconfig/moco.pc.in pkgconfig/moco.pc @ONLY)
configure_package_config_file(pkgconfig/MocoConfig.cmake.in pkgconfig/MocoConfig.cmake
                              INSTALL_DESTINATION ${MOCO_CMAKE_DIR}
                              PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/pkgconfig/MocoConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)

install(TARGETS moco LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/moco DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(FILES ${PROJECT_BINARY_DIR}/pkgconfig/moco.pc DESTINATION ${MOCO_PC_DIR})
install(FILES ${PROJECT_BINARY_DIR}/pkgconfig/MocoConfig.cmake ${PROJECT_BINARY_DIR}/pkgconfig/MocoConfigVersion.cmake
        DESTINATION ${MOCO_CMAKE_DIR})
if(TARGET moco_program)
  file(RELATIVE_PATH MOCO_BIN_TO_LIB ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
  set_target_properties(moco_program PROPERTIES INSTALL_RPATH "$ORIGIN/${MOCO_BIN_TO_LIB}")
  install(TARGETS moco_program RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  install(FILES examples/moco/completion.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME moco)
endif()

# Messages and headers name pages as docs/NAME.md, and README.md names the examples, as they lie in this tree.
install(FILES examples/python/moco.py DESTINATION ${MOCO_PYTHON_DIR})
install(FILES README.md CHANGELOG.md SECURITY.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR} FILES_MATCHING PATTERN "*.md")
install(FILES examples/train_folder.c examples/embed_folder.c examples/push_pixels.c examples/check.h
        DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)
