package conflist

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/libcni"
)

// listEnding is that of a list of plugins. The others that libcni reads hold a single plugin.
const listEnding = ".conflist"

// Networks are all networks that there are.
type Networks struct {
	// All is sorted as libcni looks: lists by the names of their files, then single plugins, then lists in the directories
	// below, then what is in no file.
	All []Network
	// Warnings tell of each file that was left out, and why.
	Warnings []error
}

// Load reads a netconf directory, and the lists in directories one level below it: there nerdctl keeps the networks of each
// containerd namespace. A file that cannot be used is a warning, and so is a second file of one name: libcni
// would use the first. The predefined networks are there in any case; a file of that name takes their place. A directory
// that does not exist is empty.
func Load(dir string) (Networks, error) {
	var ns Networks
	for _, endings := range [][]string{{listEnding}, {".conf", ".json"}, {templateEnding}} {
		if err := ns.loadAll(dir, endings); err != nil {
			return Networks{}, err
		}
	}
	// A name is one network in all namespaces: nerdctl derives the bridge and the directory of addresses from it alone.
	below, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Networks{}, fmt.Errorf("netconf directory: %w", err)
	}
	for _, namespace := range below {
		if !namespace.IsDir() {
			continue
		}
		if ending := filepath.Ext(namespace.Name()); slices.Contains([]string{listEnding, ".conf", ".json", templateEnding}, ending) {
			ns.Warnings = append(ns.Warnings, fmt.Errorf("left out: %s is a directory, and called as a network's file", filepath.Join(dir, namespace.Name())))
		}
		if err := ns.loadAll(filepath.Join(dir, namespace.Name()), []string{listEnding}); err != nil {
			return Networks{}, err
		}
	}
	for _, n := range predefined() {
		if _, taken := ns.named(n.Name); !taken {
			ns.All = append(ns.All, n)
		}
	}
	return ns, nil
}

// loadAll reads the files of a directory that have one of the endings.
func (ns *Networks) loadAll(dir string, endings []string) error {
	files, err := libcni.ConfFiles(dir, endings)
	if err != nil {
		return fmt.Errorf("netconf directory: %w", err)
	}
	slices.Sort(files)
	for _, file := range files {
		ns.load(file)
	}
	return nil
}

func (ns *Networks) load(path string) {
	reader := read
	if strings.HasSuffix(path, templateEnding) {
		reader = readTemplate
	}
	n, err := reader(path)
	if err != nil {
		ns.Warnings = append(ns.Warnings, fmt.Errorf("left out: %w", err))
		return
	}
	if first, taken := ns.named(n.Name); taken {
		ns.Warnings = append(ns.Warnings, fmt.Errorf("left out: %s: the network %q is in %s already", path, n.Name, first.File))
		return
	}
	ns.All = append(ns.All, n)
}

func (ns Networks) named(name string) (Network, bool) {
	for _, n := range ns.All {
		if n.Name == name {
			return n, true
		}
	}
	return Network{}, false
}
