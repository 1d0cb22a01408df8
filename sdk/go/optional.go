package hookhub

import "encoding/json"

// Optional is a field of a request that may be left out (its zero value), set, or set to null.
type Optional[T any] struct {
	value *T
	given bool
}

// Set returns a field with a value.
func Set[T any](value T) Optional[T] { return Optional[T]{value: &value, given: true} }

// Null returns a field that is null.
func Null[T any]() Optional[T] { return Optional[T]{given: true} }

// IsZero reports whether the field is left out.
func (o Optional[T]) IsZero() bool { return !o.given }

// MarshalJSON returns the value, or null.
func (o Optional[T]) MarshalJSON() ([]byte, error) { return json.Marshal(o.value) }
