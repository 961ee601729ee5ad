// Package cnierr says which CNI error code an error has, in one table, and writes errors as the CNI specification wants
// them on standard output. It is pure.
package cnierr

import (
	"encoding/json"
	"errors"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"syscall"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/fairway-cni/fairway/pkg/claims"
	"github.com/fairway-cni/fairway/pkg/failure"
	"github.com/fairway-cni/fairway/pkg/hostlocal"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/rescue"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/vxlan"
)

// Codes of the CNI specification 1.1.0, section 5 "Error", and Drift and Detached, which are ours.
const (
	IncompatibleVersion = types.ErrIncompatibleCNIVersion      // 1
	Environment         = types.ErrInvalidEnvironmentVariables // 4
	IO                  = types.ErrIOFailure                   // 5
	Decode              = types.ErrDecodingFailure             // 6
	Config              = types.ErrInvalidNetworkConfig        // 7
	Namespace           = types.ErrInvalidNetNS                // 8
	TryAgain            = types.ErrTryAgainLater               // 11
	// Unavailable is STATUS's answer when ADD would fail.
	Unavailable uint = 50
	// Limited is STATUS's answer when ADD works, with limits for the containers that are there.
	Limited uint = 51
	// Drift is CHECK's answer when the kernel is not as declared; codes from 100 are a plugin's own.
	Drift uint = 100
	// Detached is the answer to who wants rules declared again of an attachment whose link has gone.
	Detached uint = 101
	Internal      = types.ErrInternal // 999
)

var (
	// ErrVersion says that a configuration's cniVersion is not one for the plugin or the verb.
	ErrVersion = errors.New("cniVersion")
	// ErrEnvironment says that a variable of the environment is missing or malformed.
	ErrEnvironment = errors.New("environment")
	// ErrConfig says that a key of the configuration cannot be used.
	ErrConfig = errors.New("configuration")
	// ErrUnavailable says that the plugin cannot serve an ADD now.
	ErrUnavailable = errors.New("not available")
	// ErrDetached says that the host has no link of an attachment (any more).
	ErrDetached = errors.New("not attached (any more)")
)

// table is searched from the top: what an error is about comes before the system's error it may wrap.
var table = []struct {
	is   error
	code uint
}{
	{rescue.ErrPanic, Internal},
	{ErrUnavailable, Unavailable},
	{ErrDetached, Detached},
	{ErrVersion, IncompatibleVersion},
	{ErrEnvironment, Environment},
	{ErrConfig, Config},
	{hostlocal.ErrConfig, Config},
	{hostlocal.ErrOwner, Environment},
	{hostlocal.ErrReserved, TryAgain},
	{hostlocal.ErrExhausted, TryAgain},
	{hostlocal.ErrBusy, TryAgain},
	{claims.ErrBusy, TryAgain},
	{hostlocal.ErrNotReserved, Drift},
	{kernel.ErrBusy, TryAgain},
	{kernel.ErrNoNamespace, Namespace},
	{kernel.ErrNotNamespace, Namespace},
	{overlay.ErrConfig, Config},
	{overlay.ErrNoBlock, TryAgain},
	{overlay.ErrFenced, TryAgain},
	{state.ErrDrift, Drift},
	{state.ErrExists, Environment},
	{state.ErrConflict, Config},
	{state.ErrUnsupported, Config},
	{state.ErrAbsent, Config},
	{state.ErrLimited, Limited},
	{vxlan.ErrUnderlay, TryAgain},
	{vxlan.ErrTunnel, TryAgain},
	{state.ErrFull, TryAgain},
	{state.ErrVanished, TryAgain},
}

// Code is the CNI error code of an error; of joined ones, that of the first: what comes after is a consequence, such as a
// release that failed as well. An error of an executed plugin keeps the code that plugin gave.
func Code(err error) uint {
	chain := firsts(err)
	for _, row := range table {
		if slices.ContainsFunc(chain, func(e error) bool { return e == row.is }) { //nolint:errorlint // the chain is unwrapped
			return row.code
		}
	}
	for _, e := range chain {
		switch e := e.(type) { //nolint:errorlint // likewise
		case *types.Error:
			return delegateCode(e)
		case *json.SyntaxError, *json.UnmarshalTypeError:
			return Decode
		case *fs.PathError, syscall.Errno:
			return IO
		}
	}
	return Internal
}

// firsts is an error and all it wraps, the outer ones first, without any but the first of joined errors.
func firsts(err error) []error {
	if err == nil {
		return nil
	}
	chain := []error{err}
	switch e := err.(type) { //nolint:errorlint // this unwraps
	case interface{ Unwrap() error }:
		return append(chain, firsts(e.Unwrap())...)
	case interface{ Unwrap() []error }:
		for _, wrapped := range e.Unwrap() {
			chain = append(chain, firsts(wrapped)...)
			if reflect.TypeOf(err) == joined {
				break
			}
		}
	}
	return chain
}

// joined is the type of errors that stand side by side.
var joined = reflect.TypeOf(errors.Join(fs.ErrInvalid))

// delegateCode keeps 0 for success: a plugin that could not run, or that died, gave no code.
func delegateCode(err *types.Error) uint {
	if err.Code == 0 {
		return Internal
	}
	return err.Code
}

// Document is the JSON that reports an error, on one line.
func Document(err error, cniVersion string) []byte {
	document, _ := json.Marshal(struct { // strings and a number always marshal
		CNIVersion string `json:"cniVersion"`
		Code       uint   `json:"code"`
		Msg        string `json:"msg"`
	}{cniVersion, Code(err), Sentence(err)})
	return append(document, '\n')
}

// Sentence is an error's text on one line: joined errors are separated by semicolons.
func Sentence(err error) string {
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

// Errorf is an error of a kind, whose text says all there is to say.
func Errorf(is error, format string, args ...any) error { return failure.Of(is, format, args...) }
