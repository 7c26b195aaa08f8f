"""A deploy of what is live brings back what somebody has changed by hand."""


def test_a_deploy_of_what_is_live_but_was_changed_by_hand_goes_all_the_way(project):
    # GIVEN a function whose memory somebody has changed in the console
    functions, name = project.client("lambda"), "retail-pipeline-dev-check-quality"
    memory = functions.get_function_configuration(FunctionName=name)["MemorySize"]
    functions.update_function_configuration(FunctionName=name, MemorySize=memory * 2)
    try:
        # WHEN the release that is live is deployed
        done = project.make("deploy", "ENV=dev")

        # THEN it says what was changed, and does not say that there is nothing to do
        assert f"found {memory * 2}" in " ".join(done.stderr.split())
        assert "nothing to do" not in done.stderr
    finally:
        functions.update_function_configuration(FunctionName=name, MemorySize=memory)
