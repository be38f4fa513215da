# Takes the place of an installed 3D Slicer: copies and installs what a module lists, to where Slicer would.
set(Slicer_USE_PYTHONQT ON)
set(Slicer_USE_FILE ${CMAKE_CURRENT_LIST_DIR}/use_slicer.cmake)
set(Slicer_EXTENSION_GENERATE_CONFIG ${CMAKE_CURRENT_LIST_DIR}/nothing.cmake)
set(Slicer_EXTENSION_CPACK ${CMAKE_CURRENT_LIST_DIR}/nothing.cmake)
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR lib/Slicer-5.13/qt-scripted-modules)
set(Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR lib/Slicer-5.13/qt-scripted-modules)
