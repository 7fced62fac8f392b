package fault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"
)

func TestKindOf(t *testing.T) {
	inner := Errorf(Damaged, "row %d", 7)
	tests := []struct {
		err  error
		want Kind
	}{
		{nil, None},
		{errors.New("x"), Unexpected},
		{inner, Damaged},
		{fmt.Errorf("file: %w", inner), Damaged},
		{Wrap(Network, inner), Network},
		{fmt.Errorf("write: %w", syscall.ENOSPC), Environment},
		{&fs.PathError{Op: "open", Path: "x", Err: syscall.ENOENT}, Config},
		{&fs.PathError{Op: "mkdir", Path: "x", Err: syscall.ENOTDIR}, Config},
		{&fs.PathError{Op: "mkdir", Path: "x", Err: syscall.EROFS}, Environment},
		{&fs.PathError{Op: "open", Path: "x", Err: syscall.EACCES}, Environment},
		{context.Canceled, Interrupted},
	}
	for _, tt := range tests {
		if got := KindOf(tt.err); got != tt.want {
			t.Errorf("KindOf(%v) = %v, want %v", tt.err, got, tt.want)
		}
	}
	if !errors.Is(Wrap(Config, syscall.EIO), syscall.EIO) {
		t.Error("Wrap hides the cause")
	}
	if Wrap(Config, nil) != nil {
		t.Error("Wrap(nil) is not nil")
	}
}

func TestKindNames(t *testing.T) {
	if got := False.String(); got != "false" {
		t.Errorf("False.String() = %q", got)
	}
	if got := Kind(99).String(); got != "kind(99)" {
		t.Errorf("unknown kind prints %q", got)
	}
}
