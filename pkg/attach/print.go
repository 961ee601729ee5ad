package attach

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/cnierr"
)

// undoer takes back what an ADD has made.
type undoer = func() error

// addAndPrint adds and prints the result. An ADD whose result does not reach the runtime is taken back: the runtime would
// not know of the attachment.
func addAndPrint(ctx context.Context, v verbs, c *call, stdout io.Writer) error {
	result, undo, err := v.add(ctx, c)
	if err == nil {
		err = printResult(result, c.version(), stdout)
	}
	if err != nil && undo != nil {
		err = errors.Join(err, undo())
	}
	return err
}

// standardOutput is os.Stdout under another descriptor: there, writing to a runtime that has gone is an error. Under 1 the
// signal ends a Go program (os/signal, "SIGPIPE"), and the attachment would stay. The signal is not ignored, as a delegate
// would inherit that.
func standardOutput() *os.File {
	fd, err := unix.FcntlInt(os.Stdout.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return os.Stdout
	}
	return os.NewFile(uintptr(fd), os.Stdout.Name())
}

func printResult(result *types100.Result, cniVersion string, stdout io.Writer) error {
	converted, err := result.GetAsVersion(cniVersion)
	if err != nil {
		return cnierr.Errorf(cnierr.ErrVersion, "result does not fit cniVersion %s: set a later one: %w", cniVersion, err)
	}
	if err := converted.PrintTo(stdout); err != nil {
		return fmt.Errorf("result on standard output: %w", err)
	}
	return nil
}

// printVersions answers VERSION in the version of the caller.
func printVersions(c *call, stdout io.Writer) error {
	return json.NewEncoder(stdout).Encode(struct {
		CNIVersion        string   `json:"cniVersion"`
		SupportedVersions []string `json:"supportedVersions"`
	}{c.version(), version.All.SupportedVersions()})
}

// about tells a person who runs a plugin by hand what it is.
func about(name string, stderr io.Writer) {
	fmt.Fprintf(stderr, "%s: CNI plugin of fairway %s, for a container runtime to run\nCNI versions: %s\n",
		name, Version, strings.Join(version.All.SupportedVersions(), ", "))
}
