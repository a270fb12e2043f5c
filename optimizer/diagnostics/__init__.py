"""Why a plan is as it is: what binds, what easing it saves, why there is none, what was paid."""
