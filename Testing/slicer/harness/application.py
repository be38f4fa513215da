"""`slicer.app`, `slicer.modules` and the loader of scripted modules; import it first of all in a test of the panel."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import sys
import types
import typing
from pathlib import Path

import slicer
import slicer.util

from harness import core, mrml_widgets, ui_loader, widgets

qt = widgets.qt
MODULE = core.ROOT / "SPRRegistration" / "SPRRegistration.py"


class ModuleManager(qt.QObject):
    moduleAboutToBeUnloaded = qt.Signal(str)

    def factoryManager(self):
        return types.SimpleNamespace(loadModules=lambda names: True)


class Layouts:
    """A layout manager without views, unless a test gives some."""

    def __init__(self):
        self.slices, self.layout = {}, None

    def sliceViewNames(self):
        return list(self.slices)

    def sliceWidget(self, name):
        return self.slices[name]

    def setLayout(self, layout):
        self.layout = layout

    def resetSliceViews(self):
        pass

    def mrmlSliceLogics(self):
        return slicer.app.applicationLogic().GetSliceLogics()

    threeDViewCount = 0


class qSlicerExtensionsManagerModel(qt.QObject):
    """What the catalog of extensions can install, and what is installed."""

    interactive = qt.Property(bool, lambda self: self._interactive, lambda self, value: self._set(value))

    def __init__(self, catalog=()):
        super().__init__()
        self._interactive, self.catalog, self.installed, self.asked = True, set(catalog), set(), []

    def _set(self, value):
        self._interactive = value

    def isExtensionInstalled(self, name):
        return name in self.installed

    def installExtensionFromServer(self, name, restart=True, update=False):
        self.asked.append((name, restart, self._interactive))
        self.installed |= {name} & self.catalog
        return name in self.catalog


class Application(qt.QObject):
    """What modules ask of the application."""

    startupCompleted = qt.Signal()
    aboutToQuit = qt.Signal()
    slicerHome = ""
    temporaryPath = ""
    majorVersion, minorVersion = 5, 13
    applicationName, applicationVersion = "Slicer", "5.13"

    def __init__(self):
        super().__init__()
        self.manager, self.layouts, self.logic_ = ModuleManager(), Layouts(), None
        self.testing, self.extensions = True, qSlicerExtensionsManagerModel()
        self.folder = qt.QTemporaryDir()
        self.stored = qt.QSettings(self.folder.filePath("Slicer.ini"), qt.QSettings.IniFormat)

    def extensionsManagerModel(self):
        return self.extensions

    def clipboard(self):
        return widgets.application.clipboard()

    def testingEnabled(self):
        return self.testing

    def moduleManager(self):
        return self.manager

    def layoutManager(self):
        return self.layouts

    def applicationLogic(self):
        return self.logic_

    def mrmlScene(self):
        return slicer.mrmlScene

    def processEvents(self, *arguments):
        widgets.application.processEvents()

    def settings(self):
        return self.stored

    userSettings = settings

    def translate(self, context, text):
        return text

    def setOverrideCursor(self, cursor):
        pass

    def restoreOverrideCursor(self):
        pass

    def pauseRender(self):
        pass

    def resumeRender(self):
        pass

    def topLevelWidgets(self):
        return widgets.application.topLevelWidgets()


class Dialogs:
    """What the user was shown, and what the user answers."""

    def __init__(self):
        self.shown, self.answer, self.path = [], True, ""

    def show(self, text, *arguments, **options):
        self.shown.append(text)
        return self.answer


def start():
    """Make the application with an empty scene, as at the start of Slicer.

    Returns:
        The dialogs that the user sees.
    """
    _scene, logic = core.make_scene()
    slicer.app = Application()
    slicer.app.logic_ = logic
    for name in ("modules", "moduleNames"):
        setattr(slicer, name, types.ModuleType(f"slicer.{name}"))
        sys.modules[f"slicer.{name}"] = getattr(slicer, name)
    if "slicer.ScriptedLoadableModule" not in sys.modules:
        if core.SOURCE:
            importlib.import_module("slicer.ScriptedLoadableModule")
        else:
            from harness import scripted

            names = [name for name in vars(scripted) if name.startswith("Scripted")]
            core._module("ScriptedLoadableModule", **{name: getattr(scripted, name) for name in names}, __all__=names)
    ui_loader.install()
    SampleDataLogic.sources.clear()
    sys.modules["SampleData"] = types.SimpleNamespace(SampleDataLogic=SampleDataLogic)
    dialogs = Dialogs()
    for name in ("infoDisplay", "warningDisplay", "errorDisplay", "confirmOkCancelDisplay", "confirmYesNoDisplay"):
        setattr(slicer.util, name, dialogs.show)
    slicer.util.showStatusMessage = lambda *arguments: None
    slicer.util.reloadScriptedModule = reload
    slicer.util.getModuleWidget = lambda name: getattr(slicer.modules, f"{name}Widget")
    slicer.util.mainWindow = lambda *arguments: None
    slicer.util.restart = lambda: dialogs.shown.append("restart")
    slicer.util.settingsValue = lambda key, default, **options: default
    return dialogs


class SampleDataSource:
    """Data that the module Sample Data offers; like Slicer's, it compares lengths even where nothing is downloaded."""

    def __init__(self, sampleName, uris, fileNames, nodeNames, thumbnailFileName, customDownloader):
        self.sampleName, self.thumbnailFileName = sampleName, thumbnailFileName
        self.customDownloader = customDownloader
        lists = [[entry] if isinstance(uris, str) else entry for entry in (uris, fileNames, nodeNames)]
        if len({len(entry) for entry in lists}) != 1:
            raise ValueError("All fields of sample data source must have the same length")
        self.uris, self.fileNames, self.nodeNames = lists


def source_class():
    """Return Slicer's own class of sample data where a checkout is at hand, otherwise the stand-in."""
    if not core.SOURCE:
        return SampleDataSource
    path = Path(core.SOURCE) / "Modules" / "Scripted" / "SampleData" / "SampleData.py"
    classes = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)]
    found, names = [node for node in classes if node.name == "SampleDataSource"], {"os": os}
    exec(compile(ast.Module(found, []), str(path), "exec"), names)
    return names["SampleDataSource"]


class SampleDataLogic:
    """Remembers what was registered."""

    sources: typing.ClassVar[dict] = {}

    @classmethod
    def registerCustomSampleDataSource(cls, category, sampleName, thumbnailFileName, customDownloader, uris=None,
                                       fileNames=None, nodeNames=None):  # fmt: skip
        facts = {"uris": uris, "fileNames": fileNames, "nodeNames": nodeNames, "thumbnailFileName": thumbnailFileName}
        source = source_class()(sampleName=sampleName, customDownloader=customDownloader, **facts)
        cls.sources.setdefault(category, []).append(source)


class qSlicerScriptedLoadableModuleWidget(mrml_widgets.qMRMLWidget):
    """What Slicer puts the panel into."""

    isEntered = True


def load():
    """Load the module as Slicer does.

    Returns:
        The widget of the module, set up.
    """
    forget_modules()
    return read()


def forget_modules():
    """Have the module imported again, and the Explorer, whose modules refer to those of the library."""
    packages = ("SPRRegistration", "SPRRegistrationLib", "SPRExplorer")
    for name in [name for name in sys.modules if name.split(".")[0] in packages]:
        del sys.modules[name]


def reload(name):
    """Load the module anew, as the button Reload does: its file, and nothing that it imports."""
    getattr(slicer.modules, f"{name}Widget").cleanup()
    return read()


def read():
    """Run the file of the module and set its panel up."""
    spec = importlib.util.spec_from_file_location("SPRRegistration", MODULE)
    module = sys.modules["SPRRegistration"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    entry = types.SimpleNamespace(path=str(MODULE), title="", icon=None)
    slicer.modules.sprregistration = entry
    slicer.modules.SPRRegistrationInstance = module.SPRRegistration(entry)
    slicer.app.startupCompleted.emit()
    parent = qSlicerScriptedLoadableModuleWidget()
    parent.setLayout(qt.QVBoxLayout())
    parent.setMRMLScene(slicer.mrmlScene)
    widget = module.SPRRegistrationWidget(parent)
    slicer.modules.SPRRegistrationWidget = widget
    widget.setup()
    return widget


def process_events(seconds=0.0, until=lambda: False):
    """Let the event loop run until something holds, at most so many seconds.

    Returns:
        Whether it holds.
    """
    import time

    end = time.monotonic() + seconds
    while not until() and time.monotonic() < end:
        widgets.application.processEvents()
        time.sleep(0.005)
    widgets.application.processEvents()
    return until()


def here(name):
    """Return the path of a file beside this one."""
    return Path(__file__).with_name(name)
