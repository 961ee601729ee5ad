package doctor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// modules tells what trying a feature would load. The kernel asks for a module as soon as a link or a rule needs it, so that
// trying is reading only where no module is left to load.
type modules struct {
	monolithic bool            // the kernel cannot load any
	known      bool            // there is a list of those that are installed
	loaded     map[string]bool // or built in
	installed  map[string]bool
}

// installedModules reads the lists of the running kernel below a root directory.
func installedModules(root string) modules {
	m := modules{loaded: map[string]bool{}, installed: map[string]bool{}}
	list, err := os.ReadFile(filepath.Join(root, "proc/modules"))
	if errors.Is(err, fs.ErrNotExist) {
		m.monolithic = true
		return m
	}
	for line := range strings.Lines(string(list)) {
		name, _, _ := strings.Cut(line, " ")
		m.loaded[moduleName(name)] = true
	}
	dir := filepath.Join(root, "lib/modules", release())
	builtin, _ := os.ReadFile(filepath.Join(dir, "modules.builtin")) // older kernels have no such list
	for line := range strings.Lines(string(builtin)) {
		m.loaded[moduleName(line)] = true
	}
	dependencies, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
	m.known = err == nil
	for line := range strings.Lines(string(dependencies)) {
		name, _, _ := strings.Cut(line, ":")
		m.installed[moduleName(name)] = true
	}
	return m
}

// loadable says whether a module would be loaded when a feature is tried. It is not known where the kernel can load modules
// and no list of them is in sight.
func (m modules) loadable(names []string) (loadable, known bool) {
	if m.monolithic {
		return false, true
	}
	known = true
	for _, name := range names {
		name = moduleName(name)
		if m.loaded[name] {
			continue
		}
		known = known && m.known
		loadable = loadable || m.installed[name]
	}
	return loadable, known
}

// moduleName is a module's name, from the path of its file too. The kernel takes - and _ for the same.
func moduleName(path string) string {
	name, _, _ := strings.Cut(filepath.Base(strings.TrimSpace(path)), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// release is that of the running kernel, as uname -r.
func release() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Release[:])
}
