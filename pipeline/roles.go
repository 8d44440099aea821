package pipeline

// addWorker: what worker run does with --provision=false. It publishes no
// requests, and can remove requests (those that are settled) and news of
// acceptance, but no stream. Tokens are encrypted, and yet nobody else has any
// business with them.
func (p *Permissions) addWorker(t Topology) {
	requests, ledger, deadLetters, control, tokens := t.RequestsStream(), t.LedgerStream(), t.DeadLettersStream(), t.ControlBucket(), t.TokensBucket()
	p.publish("claims and outcomes, and copies of requests that came to nothing",
		t.subject("claims", ">"), t.subject("outcomes", ">"), t.subject("deadletters", ">"))
	p.publish("see whether the streams are there and as they must be, and what waits",
		"$JS.API.STREAM.INFO."+requests, "$JS.API.STREAM.INFO."+ledger, "$JS.API.STREAM.INFO."+deadLetters,
		"$JS.API.STREAM.INFO."+kvStream(control), "$JS.API.STREAM.INFO."+kvStream(tokens))
	p.publish("a consumer for each queue and process: made when its first request comes, removed when it is empty for long",
		"$JS.API.CONSUMER.CREATE."+requests+".*."+t.subject("requests", ">"), "$JS.API.CONSUMER.MSG.NEXT."+requests+".*",
		"$JS.API.CONSUMER.INFO."+requests+".*", "$JS.API.CONSUMER.DELETE."+requests+".*", "$JS.ACK."+requests+".>")
	p.publish("remove requests that are settled",
		"$JS.API.CONSUMER.LIST."+requests, "$JS.API.STREAM.PURGE."+requests)
	p.publish("read the ledger",
		"$JS.API.DIRECT.GET."+ledger, "$JS.API.STREAM.MSG.GET."+ledger)
	p.publish("follow what was accepted to its end, and remove the news that it was accepted",
		"$JS.API.CONSUMER.CREATE."+ledger+".*."+t.subject("outcomes", ">"), "$JS.API.CONSUMER.MSG.NEXT."+ledger+".*",
		"$JS.ACK."+ledger+".>", "$JS.API.STREAM.MSG.DELETE."+ledger)
	p.publish("what workers agree by: throttles, what lanes are bound to, leases", "$KV."+control+".>", directGet(control, ">"))
	p.addWatch(control)
	p.publish("refresh tokens, encrypted, that workers share", "$KV."+tokens+".tenants.*", directGet(tokens, "tenants.*"))
}

// addWatch: a watch is an ordered push consumer, with flow control.
func (p *Permissions) addWatch(bucket string) {
	stream := kvStream(bucket)
	p.publish("follow changes of the bucket "+bucket,
		"$JS.API.CONSUMER.CREATE."+stream+".*.$KV."+bucket+".>", "$JS.API.CONSUMER.DELETE."+stream+".*", "$JS.FC."+stream+".>")
}

func (p *Permissions) addProvisioning(t Topology) {
	p.publish("make the streams that are missing (--provision)",
		"$JS.API.STREAM.CREATE."+t.RequestsStream(), "$JS.API.STREAM.CREATE."+t.LedgerStream(), "$JS.API.STREAM.CREATE."+t.DeadLettersStream(),
		"$JS.API.STREAM.CREATE."+kvStream(t.ControlBucket()), "$JS.API.STREAM.CREATE."+kvStream(t.TokensBucket()))
	p.publish("what the server can do, which the making of a bucket asks (--provision)", "$JS.API.INFO")
}

// addOperator: what the README tells an operator to do, with the nats CLI. It
// reads no ledger and no tokens, and removes nothing but keys of the control
// bucket and dead letters, which would fill their stream for good otherwise, and
// whose outcomes stay in the ledger; but see Share: who is in the workers'
// account must be trusted.
func (p *Permissions) addOperator(t Topology) {
	control := kvStream(t.ControlBucket())
	p.publish("what there is: nats stream ls, nats kv ls, which list all streams of the account",
		"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST")
	for _, stream := range t.operated() {
		p.publish("look at stream "+stream, "$JS.API.STREAM.INFO."+stream)
		p.publish("what waits in stream "+stream+" for whom: nats consumer report",
			"$JS.API.CONSUMER.NAMES."+stream, "$JS.API.CONSUMER.LIST."+stream, "$JS.API.CONSUMER.INFO."+stream+".*")
	}
	p.publish("pause and resume a queue or process", "$JS.API.CONSUMER.PAUSE."+t.RequestsStream()+".*")
	letters := t.DeadLettersStream()
	p.publish("read dead letters: nats stream view, nats stream get",
		"$JS.API.CONSUMER.CREATE."+letters, "$JS.API.CONSUMER.CREATE."+letters+".>", "$JS.API.CONSUMER.DELETE."+letters+".*",
		"$JS.API.CONSUMER.MSG.NEXT."+letters+".*", "$JS.ACK."+letters+".>", "$JS.API.STREAM.MSG.GET."+letters, "$JS.API.DIRECT.GET."+letters,
		"$JS.API.DIRECT.GET."+letters+".>")
	p.publish("remove dead letters: nats stream rmm, nats stream purge", "$JS.API.STREAM.MSG.DELETE."+letters, "$JS.API.STREAM.PURGE."+letters)
	p.publish("publish a request anew, under another key", t.subject("requests", ">"))
	p.publish("nats kv get and del", "$KV."+t.ControlBucket()+".>", directGet(t.ControlBucket(), ">"), "$JS.API.STREAM.MSG.GET."+control)
	p.addWatch(t.ControlBucket())
}

// operated are the streams that an operator looks after: all but the tokens'.
func (t Topology) operated() []string {
	return []string{t.RequestsStream(), t.LedgerStream(), t.DeadLettersStream(), kvStream(t.ControlBucket())}
}

func (p *Permissions) addChanges(t Topology) {
	for _, stream := range t.operated() {
		p.publish("change streams (--change-streams): an administrator's right, by which all that there is can be read and removed", "$JS.API.STREAM.UPDATE."+stream)
	}
}
