package testnet

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// builtVar names a directory with what is built already: where tests run in a virtual machine, building takes long.
const builtVar = "FAIRWAY_PLUGINS"

// PluginDir is where BuildPlugins puts plugins: on the tmpfs that Isolate mounts, with which they go.
const PluginDir = "/run/fairway-plugins"

// BuildPlugins builds plugins of this module after Isolate, as a package of tests needs them: args are those of `go build`.
func BuildPlugins(args ...string) error { return build(PluginDir, args) }

// commandDir is where BuildCommands puts commands.
const commandDir = "/run/fairway-commands"

// BuildCommands builds commands of this module likewise, and puts them before all others in the search path.
func BuildCommands(args ...string) error {
	if err := build(commandDir, args); err != nil {
		return err
	}
	return os.Setenv("PATH", commandDir+":"+os.Getenv("PATH"))
}

func build(dir string, args []string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if built := os.Getenv(builtVar); built != "" {
		return link(built, dir, args)
	}
	build := exec.Command("go", append([]string{"build", "-o", dir + "/"}, args...)...)
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("go build: %w", err)
	}
	return nil
}

// link finds in a directory what `go build` would build.
func link(from, dir string, args []string) error {
	for _, arg := range args {
		if strings.HasPrefix(arg, "-") {
			continue
		}
		name := filepath.Base(arg)
		built := filepath.Join(from, name)
		if _, err := os.Stat(built); err != nil {
			return fmt.Errorf("run `make build` first: %w", err)
		}
		if err := os.Symlink(built, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}
