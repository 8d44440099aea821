package protocol

// Variant chooses what is modelled.
type Variant struct {
	Keys      int  // 1 or 2, which a call may carry together
	Unique    bool // the queue refuses a Reference that it has
	Completed bool // the request is followed to its end
	Expires   bool // notAfter may pass at any moment
	Forgets   bool // the ledger's retention may pass
	Delays    bool // a write may be stored after its sender has given up
	Exhausts  bool // what is absent may have failed too often, and is refused
	Breach    Breach
}

// Breach names a rule of the protocol that is not kept.
type Breach string

// The breaches.
const (
	Kept            Breach = ""                   // all rules are kept
	AckFirst        Breach = "ack first"          // the request is acknowledged before its outcome is stored
	NoClaim         Breach = "no claim"           // only outcomes are looked for before a call
	CountDeliveries Breach = "count deliveries"   // in doubt only what JetStream says it has delivered before
	LateCall        Breach = "late call"          // the claim's time is not looked at before a call
	NoSettleTime    Breach = "no settle time"     // a claim is dead as soon as it is over
	DoubtIsFailure  Breach = "doubt is failure"   // a call without a clear answer counts as not made
	HastyAbsence    Breach = "hasty absence"      // what is not found at once counts as absent
	NoLookUp        Breach = "no look-up"         // a dead claim is taken over and called
	BlindTakeover   Breach = "blind takeover"     // a claim is replaced whatever stands there
	StaleConfirm    Breach = "stale confirmation" // after a takeover any replica is asked for the outcome
	LooseOutcome    Breach = "loose outcome"      // an outcome is stored without its claim
	LooseRelease    Breach = "loose release"      // a claim is given back without being held
	RefuseUnseen    Breach = "refuse unseen"      // what is expired is refused without a look-up
	ClaimsFirst     Breach = "claims first"       // the ledger forgets claims before outcomes
	OldIsNew        Breach = "old is new"         // a request without a claim was never called, however old
	TrackingApart   Breach = "tracking apart"     // the news of acceptance and the tracked claim are two writes
	LooseEnd        Breach = "loose end"          // the end of what is tracked is stored whatever stands there
	AckPaused       Breach = "ack what is paused" // what is told to wait is acknowledged
	TrustDuplicate  Breach = "trust a duplicate"  // a Reference that the queue has is taken for the request's own
	NoTakeover      Breach = "no takeover"        // nobody takes over the claims of the dead
)

// Breaches gives all of them.
func Breaches() []Breach {
	return []Breach{
		AckFirst, NoClaim, CountDeliveries, LateCall, NoSettleTime, DoubtIsFailure, HastyAbsence, NoLookUp, BlindTakeover,
		StaleConfirm, LooseOutcome, LooseRelease, RefuseUnseen, ClaimsFirst, OldIsNew, TrackingApart, LooseEnd, AckPaused, TrustDuplicate, NoTakeover,
	}
}
