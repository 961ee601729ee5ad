package driver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/version"
)

// ErrNoPlugin says that no directory has a plugin of a type.
var ErrNoPlugin = errors.New("no such plugin")

// Path is a list of directories, as in CNI_PATH. The first that has a plugin counts.
type Path []string

// Versions are the versions of CNI that a plugin knows. The error wraps ErrNoPlugin when there is none.
func (p Path) Versions(ctx context.Context, plugin string) ([]string, error) {
	if _, err := p.find(plugin); err != nil {
		return nil, err
	}
	exec := &invoke.DefaultExec{RawExec: &invoke.RawExec{Stderr: io.Discard}, PluginDecoder: version.PluginDecoder{}}
	info, err := libcni.NewCNIConfig(p, exec).GetVersionInfo(ctx, plugin)
	if err != nil {
		return nil, fmt.Errorf("plugin %s: VERSION: %w", plugin, err)
	}
	return info.SupportedVersions(), nil
}

// about is what every plugin of ours says on standard error when it is run with no command (pkg/attach).
const about = ": CNI plugin of fairway "

// Fairway says whether a plugin is this project's. One that is not there, or could not be asked, is not.
func (p Path) Fairway(ctx context.Context, plugin string) bool {
	is, err := p.Ask(ctx, plugin)
	return is && err == nil
}

// Ask is Fairway for callers to whom it matters that a plugin could not be asked: it could not be executed, or was killed.
func (p Path) Ask(ctx context.Context, plugin string) (fairway bool, err error) {
	path, err := p.find(plugin)
	if err != nil {
		return false, nil //nolint:nilerr // as it says
	}
	cmd := exec.CommandContext(ctx, path)
	cmd.Env = []string{}
	var said strings.Builder
	cmd.Stderr = &said
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return false, nil // those of other suites want a command
	}
	if err != nil {
		return false, fmt.Errorf("plugin %s: %w", plugin, err)
	}
	return strings.Contains(said.String(), about), nil
}

func (p Path) find(plugin string) (string, error) {
	path, err := invoke.FindInPath(plugin, p)
	if err != nil {
		return "", fmt.Errorf("%w as %q in %s", ErrNoPlugin, plugin, strings.Join(p, ":"))
	}
	return path, nil
}

// Types are the names of all plugins, sorted.
func (p Path) Types() []string {
	var types []string
	for _, dir := range p {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // as in find: a directory that is not there has no plugin
		}
		for _, entry := range entries {
			if info, err := os.Stat(dir + "/" + entry.Name()); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				types = append(types, entry.Name())
			}
		}
	}
	slices.Sort(types)
	return slices.Compact(types)
}
