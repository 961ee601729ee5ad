package attach

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/cnierr"
)

// withoutSignal is a standard stream under another descriptor: there, writing to a reader that has gone is an error. Under
// 1 and 2 the signal ends a Go program (os/signal, "SIGPIPE"), half-way through what it makes or takes back. The signal is
// not ignored, as a delegate would inherit that.
func withoutSignal(stream *os.File) *os.File {
	fd, err := unix.FcntlInt(stream.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return stream
	}
	return os.NewFile(uintptr(fd), stream.Name())
}

func printResult(result *types100.Result, cniVersion string, stdout io.Writer) error {
	converted, err := result.GetAsVersion(cniVersion)
	if err != nil {
		return cnierr.Errorf(cnierr.ErrVersion, "result does not fit cniVersion %s: set a later one: %w", cniVersion, err)
	}
	if current, ok := converted.(*types100.Result); ok {
		err = printDocument(current, stdout)
	} else {
		err = converted.PrintTo(stdout)
	}
	if err != nil {
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
	if name == "firewall" {
		// nerdctl reads a version here, and leaves out a firewall that does not know ingressPolicy.
		fmt.Fprintf(stderr, "CNI %s plugin v1.9.1\n", name)
	}
}

// logTo sends what a plugin logs to standard error: warnings, and with FAIRWAY_LOG=debug each object that is created.
func logTo(stderr io.Writer) {
	level := slog.LevelWarn
	if os.Getenv("FAIRWAY_LOG") == "debug" {
		level = slog.LevelDebug
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})))
}
