package testnet

import (
	"fmt"
	"os"
	"os/exec"
)

// PluginDir is where BuildPlugins puts plugins: on the tmpfs that Isolate mounts, with which they go.
const PluginDir = "/run/fairway-plugins"

// BuildPlugins builds plugins of this module after Isolate, as a package of tests needs them: args are those of `go build`.
func BuildPlugins(args ...string) error {
	if err := os.Mkdir(PluginDir, 0o755); err != nil {
		return err
	}
	build := exec.Command("go", append([]string{"build", "-o", PluginDir + "/"}, args...)...)
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("go build: %w", err)
	}
	return nil
}
