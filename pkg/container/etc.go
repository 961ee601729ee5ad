package container

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// Etc is the files that say who a container is and whom it asks, by their paths: as a process sees them that is in the network namespace
// and has other files than this one. Empty: there is none, as in a namespace that a person has made.
func Etc(netns string) map[string]string {
	there, err := kernel.NamespaceAt(netns)
	if err != nil {
		return nil
	}
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return nil
	}
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range processes {
		if ns, err := kernel.NamespaceAt(dir + "/ns/net"); err != nil || ns != there {
			continue
		}
		if mounts, err := os.Readlink(dir + "/ns/mnt"); err != nil || mounts == own {
			continue
		}
		root, err := os.OpenRoot(dir + "/root") // whose links do not lead out of it
		if err != nil {
			continue
		}
		files := map[string]string{}
		for _, path := range []string{"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"} {
			if text, err := readWithin(root, path[1:]); err == nil {
				files[path] = text
			}
		}
		_ = root.Close() // it was only read
		return files
	}
	return nil
}

// readWithin reads a file that may be anything.
func readWithin(root *os.Root, path string) (string, error) {
	const most = 1 << 20 // bytes
	file, err := root.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no regular file", path)
	}
	text, err := io.ReadAll(io.LimitReader(file, most))
	return string(text), err
}
