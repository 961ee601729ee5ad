package main

import (
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/version"
)

// suite is a directory of plugins.
type suite struct {
	name string
	dir  string
	// loopback is the plugin that serves a runtime as loopback: a build directory holds it under its own name, none.
	loopback string
	// release is the module version that the binaries were built from, as far as they know it.
	release string
}

func openSuite(name, dir string) (suite, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return suite{}, err
	}
	s := suite{name: name, dir: dir, loopback: "loopback"}
	if !s.holds("loopback") {
		s.loopback = "none"
	}
	for _, plugin := range []string{s.loopback, "bridge", "host-local"} {
		if !s.holds(plugin) {
			return suite{}, fmt.Errorf("%s holds no plugin %s: make bench builds and installs both suites", dir, plugin)
		}
	}
	if info, err := buildinfo.ReadFile(filepath.Join(dir, "bridge")); err == nil {
		s.release = info.Main.Version
	}
	return s, nil
}

func (s suite) holds(plugin string) bool {
	_, err := os.Stat(filepath.Join(s.dir, plugin))
	return err == nil
}

// runtime is a container runtime's way to the plugins: libcni with a cache of its own. What a plugin says on stderr beside
// a success is dropped.
func (s suite) runtime(cache string) *libcni.CNIConfig {
	exec := &invoke.DefaultExec{RawExec: &invoke.RawExec{}, PluginDecoder: version.PluginDecoder{}}
	return libcni.NewCNIConfigWithCacheDir([]string{s.dir}, cache, exec)
}
