package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/sandbox"
)

// process reads the flags about the command's process.
func (o runFlags) process(spec *sandbox.Spec) (err error) {
	variables, err := o.variables()
	if err != nil {
		return err
	}
	for _, variable := range variables {
		name, _, assigned := strings.Cut(variable, "=")
		if name == "" {
			return fmt.Errorf("--env %q: give KEY=VALUE, or KEY for the value that it has here", variable)
		}
		if value, here := os.LookupEnv(name); !assigned && here { // as Docker: its value here, and nothing where there is none
			variable += "=" + value
		} else if !assigned {
			continue
		}
		spec.Env = append(spec.Env, variable)
	}
	for _, text := range o.sysctls {
		assignment, err := parseSysctl(text)
		if err != nil {
			return err
		}
		spec.Sysctls = append(spec.Sysctls, assignment)
	}
	if o.dir != "" {
		if info, err := os.Stat(o.dir); err != nil || !info.IsDir() || !filepath.IsAbs(o.dir) {
			return fmt.Errorf("--workdir %q: give the path of a directory of this machine, from /", o.dir)
		}
		spec.Dir = o.dir
	}
	if o.user == "" {
		return nil
	}
	var home string
	if spec.User, home, err = parseUser(o.user); err != nil {
		return err
	}
	spec.Env = append([]string{"HOME=" + home}, spec.Env...)
	return nil
}

// variables are those of the files, and then those of the flags, which go before them.
func (o runFlags) variables() (all []string, err error) {
	for _, path := range o.envFiles {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("--env-file: %w", err)
		}
		some, err := parseEnvFile(string(text))
		if err != nil {
			return nil, fmt.Errorf("--env-file %s: %w", path, err)
		}
		all = append(all, some...)
	}
	return append(all, o.env...), nil
}

// parseEnvFile reads a variable from each line, as Docker does: a mark of the byte order, space before a name, empty lines and comments
// are passed over, and of a value nothing is.
func parseEnvFile(text string) (all []string, err error) {
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		number++
		line = strings.TrimLeft(strings.TrimRight(line, "\r\n"), " \t")
		name, _, _ := strings.Cut(line, "=")
		switch {
		case line == "" || line[0] == '#':
			continue
		case !utf8.ValidString(line) || strings.ContainsRune(line, 0):
			return nil, fmt.Errorf("line %d is not text of UTF-8", number)
		case name == "":
			return nil, fmt.Errorf("line %d has no name before '='", number)
		case strings.ContainsAny(name, " \t"):
			return nil, fmt.Errorf("line %d: the name %q has a space in it", number, name)
		}
		all = append(all, line)
	}
	return all, nil
}

// parseSysctl reads KEY=VALUE, where the parts of KEY are separated by dots or, where they hold dots, by slashes (sysctl(8)).
func parseSysctl(text string) (a kernel.Assignment, err error) {
	key, value, ok := strings.Cut(text, "=")
	if dot := strings.IndexByte(key, '.'); dot >= 0 && !strings.Contains(key[:dot], "/") {
		key = strings.ReplaceAll(key, ".", "/")
	}
	if !ok || value == "" || !strings.HasPrefix(key, "net/") || filepath.Clean(key) != key {
		return a, fmt.Errorf("--sysctl %q: give a parameter of the network, such as net.ipv4.ip_unprivileged_port_start=0", text)
	}
	return kernel.Assignment{Key: key, Value: value}, nil
}

// parseUser reads USER[:GROUP], names or numbers. A number need not be in the machine's files.
func parseUser(text string) (u *sandbox.User, home string, err error) {
	name, group, hasGroup := strings.Cut(text, ":")
	u, home = &sandbox.User{}, "/"
	known, err := user.Lookup(name)
	if err != nil {
		known, err = user.LookupId(name)
	}
	switch {
	case err == nil:
		home = known.HomeDir
		groups, err := known.GroupIds()
		if err != nil {
			return nil, "", fmt.Errorf("--user %q: %w", text, err)
		}
		for _, id := range append([]string{known.Uid, known.Gid}, groups...) {
			number, err := strconv.ParseUint(id, 10, 32)
			if err != nil {
				return nil, "", fmt.Errorf("--user %q: %w", text, err)
			}
			u.Groups = append(u.Groups, uint32(number))
		}
		u.UID, u.GID, u.Groups = u.Groups[0], u.Groups[1], u.Groups[2:]
	default:
		number, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			return nil, "", fmt.Errorf("--user %q: there is no user %s on this machine", text, name)
		}
		u.UID = uint32(number)
	}
	if !hasGroup {
		return u, home, nil
	}
	found, err := user.LookupGroup(group)
	if err == nil {
		group = found.Gid
	}
	number, err := strconv.ParseUint(group, 10, 32)
	if err != nil {
		return nil, "", fmt.Errorf("--user %q: there is no group %s on this machine", text, group)
	}
	u.GID, u.Groups = uint32(number), nil // as Docker: a group that is named is the only one
	return u, home, nil
}

// errShared says what a container that shares another's network cannot have.
var errShared = errors.New("--network container: addresses, names, ports, parameters and DNS servers are those of the other container")
